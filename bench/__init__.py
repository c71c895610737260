"""Measurements that are printed, never asserted in a test."""
