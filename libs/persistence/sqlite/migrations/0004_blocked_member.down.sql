DROP TABLE block_revision;
DROP TABLE blocked_member;
