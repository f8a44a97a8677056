//! The few reply types of RESP2 we need, decoded from a buffer that may end anywhere.
