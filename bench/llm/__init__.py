"""`python -m bench llm`: streamed answers of a language model through four policies, beside LiteLLM's proxy."""
