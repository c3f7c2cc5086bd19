"""How the answers' tables came to be: one revision per change, applied by Alembic."""
