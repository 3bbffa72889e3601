"""Files that people start from: projects, policies, and the JSON Schemas of their documents."""
