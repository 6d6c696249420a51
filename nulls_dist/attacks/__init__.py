"""Attacks on models without their deleted sources: what can who has the weights recover?"""
