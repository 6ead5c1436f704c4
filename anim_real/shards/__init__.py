"""HDF5 shards of aligned RGB-D/mesh pairs: schema, sampling, writing, reading, verification."""
