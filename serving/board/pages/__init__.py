"""The pages; each module has its `ROUTES`, and its queries read what is visible to the viewer."""
