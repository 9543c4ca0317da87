"""What all kinds of configuration share: text to nested settings, their spellings, and the way to facts.

A kind of configuration (`talweg.configs`) says which files are its own and what its trainer means by a setting.
"""
