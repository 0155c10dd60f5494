"""Tests of the backend, without the gateway: `.venv/bin/python -m unittest` from the example's folder."""
