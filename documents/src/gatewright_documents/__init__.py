"""What people write in YAML or JSON: bytes → plain value with line numbers → strict struct, or all mistakes at once.

mistake         one thing to put right: where, expected, got, cure
reader          bytes → value, in bounded time and memory (budget); where everything stands (line_tree)
document        a file, read
yaml_writer     value → bytes: YAML for people, that the reader reads as the same
strict          value → msgspec struct
schema          value against a JSON Schema: sentences; defaults (schema_walk), secrets (secret_masks,
                secret_references)
schema_check    whether a JSON Schema is one
"""
