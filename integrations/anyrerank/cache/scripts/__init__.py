"""The Lua scripts that Redis runs as atomic commands."""
