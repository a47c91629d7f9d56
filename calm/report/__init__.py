"""The results page: tables with the best figure in bold, and cards to listen to, for any static host."""
