"""The values that go in and come out."""
