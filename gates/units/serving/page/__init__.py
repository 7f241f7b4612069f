"""Tests of the site's page."""
