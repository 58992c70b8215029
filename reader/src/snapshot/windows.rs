//! What the follower remembers of tables that are being read: the keys of changed rows, and whether DDL came.
