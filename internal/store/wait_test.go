package store

import (
	"database/sql/driver"
	"testing"

	"modernc.org/sqlite"
)

// registerWait makes the SQL function castpoint_test_wait, which calls f.
func registerWait(t *testing.T, f func()) {
	t.Helper()
	err := sqlite.RegisterScalarFunction("castpoint_test_wait", 0, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
		f()
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
