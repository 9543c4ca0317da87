"""What a person sees of a corpus: one view model, drawn for the terminal and as a page."""
