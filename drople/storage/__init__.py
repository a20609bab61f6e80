"""What is kept in files: trained prompts, analyses, tables of many images."""
