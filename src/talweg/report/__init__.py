"""What a person sees of a diagnosis: one view model, drawn for the terminal, Markdown, HTML and JSON."""
