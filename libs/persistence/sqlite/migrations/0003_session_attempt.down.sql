ALTER TABLE session DROP COLUMN attempt;
