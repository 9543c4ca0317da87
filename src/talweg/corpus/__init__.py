"""From parquet to token shards: the text, its split, its tokenizer, its counts."""
