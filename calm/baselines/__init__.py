"""The systems of the paper's tables: published figures, licences, and adapters that run them by their own public interface."""
