"""The listening test: blind, randomised, in the browser; every rating is stored at once."""
