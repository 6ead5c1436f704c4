"""Tests of anim_real.meshes."""
