"""Azure Kinect recordings (MKV): reading, salvaging and writing them, without any SDK."""
