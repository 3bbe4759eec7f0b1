"""The pure half of intents: what a manifest means, what a user decided, and which sandbox follows from both."""

VERSION = "0.1.0"
