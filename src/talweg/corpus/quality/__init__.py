"""The quality of text: measures of each document, the published rules on them, and a summary of a whole corpus."""
