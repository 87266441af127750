"""The implementation. Nothing in here is public: import from `anyrerank` and its public modules."""
