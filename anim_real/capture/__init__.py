"""Reading and writing what sensors and scanners produce: k4a MKV files, factory calibrations, scan folders."""
