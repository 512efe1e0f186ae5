"""Faces in photographs: detection, landmarks, alignment, and maps drawn back."""
