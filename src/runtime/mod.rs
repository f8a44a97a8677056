//! The only importer of glommio.
