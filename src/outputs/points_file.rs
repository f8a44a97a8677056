//! `DATA/points.carbon`: where points go when no carbon is configured.
