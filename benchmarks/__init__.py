"""How fast the course's network is, and how soon it draws well, beside other people's. Not part of the package."""
