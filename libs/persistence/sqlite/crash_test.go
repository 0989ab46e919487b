package sqlite_test

const childEnv = "PARLEY_TEST_JOURNAL_CHILD"

func runChild(string) int { return 0 }
