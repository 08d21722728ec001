//! cotter-fence
