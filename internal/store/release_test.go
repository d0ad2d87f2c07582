package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the fixture of today's schema if it is missing, and what is read out of all of them")

// fixture is a database of one version of the schema, as SQL: as it was left by a castpoint
// that knew no later one.
func fixture(version int) string {
	return filepath.Join("testdata", fmt.Sprintf("schema-%d.sql", version))
}

// raw opens a database without looking at its version.
func raw(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(path, false))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// tables are the statements that made what is in a database, in the order of their
// making.
func tables(t *testing.T, db *sql.DB) (all []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY type DESC, rowid")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		all = append(all, text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// dump writes a database as SQL, one row a line.
func dump(t *testing.T, db *sql.DB) string {
	t.Helper()
	var b strings.Builder
	for _, text := range tables(t, db) {
		fmt.Fprintf(&b, "%s;\n", text)
	}
	rows, err := db.QueryContext(t.Context(), "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		var columns string
		if err := db.QueryRowContext(t.Context(), "SELECT group_concat('quote(' || name || ')', ' || '', '' || ') FROM pragma_table_info(?)", name).Scan(&columns); err != nil {
			t.Fatal(err)
		}
		rows, err := db.QueryContext(t.Context(), "SELECT "+columns+" FROM "+name)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var values string
			if err := rows.Scan(&values); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "INSERT INTO %s VALUES (%s);\n", name, values)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// fill puts a row into every table.
func fill(ctx context.Context, s *Store) error {
	at := func(minutes int) time.Time {
		return time.Date(2026, 11, 21, 8, minutes, 0, 0, time.UTC)
	}
	body := json.RawMessage(`{"id":"d1","name":"lab","collection":"c1","sequence":"install"}`)
	steps := []func() error{
		func() error {
			return s.PutDevices(ctx, Device{
				ID: "dev-1", Name: "pc-1", UUID: "4c4c4544-0042-3510-8052-b3c04f4b4e32", MACs: []string{"52:54:00:12:34:56", "52:54:00:12:34:57"}, State: "known", Protected: true,
				Notes: "room 7, it's 'quoted'", Variables: map[string]string{"Role": "lab"}, Groups: []string{"hall"}, Settings: json.RawMessage(`{"chain":"grub"}`),
				Seen: json.RawMessage(`{"arch":7}`), Inventory: json.RawMessage(`{"model":"OptiPlex 7090","memory":8192}`), Created: at(1), FirstSeen: at(2), LastSeen: at(3),
			}, Device{ID: "dev-2", MACs: []string{"52:54:00:12:34:58"}, State: "unknown", Settings: json.RawMessage("{}"), Seen: json.RawMessage("{}"), Created: at(4)})
		},
		func() error {
			return s.AddEvents(ctx, []Event{
				{Time: at(5), MAC: "52:54:00:12:34:56", UUID: "4c4c4544-0042-3510-8052-b3c04f4b4e32", Kind: "dhcp-offer", Message: "offered 192.0.2.7", Details: `{"address":"192.0.2.7"}`},
				{Time: at(6), MAC: "52:54:00:12:34:58", Kind: "tftp-failed", Trouble: true, Message: "file not found"},
			})
		},
		func() error {
			return s.PutAccessToken(ctx, AccessToken{ID: "t1", Hash: "aa", Name: "ci", Scope: "operate", By: "anna", Created: at(7), Expires: at(8)})
		},
		func() error {
			return s.PutAccessUser(ctx, AccessUser{Name: "anna", Password: "$argon2id$v=19$m=65536,t=3,p=4$AAAA$BBBB", Scope: "admin", Created: at(9), LastLogin: at(10)})
		},
		func() error {
			return s.PutAccessSession(ctx, AccessSession{Hash: "bb", User: "anna", How: "password", Scope: "admin", CSRF: "cc", Remote: "192.0.2.9", Created: at(11), Seen: at(12)})
		},
		func() error {
			return s.AddAudit(ctx, &AuditEntry{Time: at(13), Who: "anna", How: "password", Remote: "192.0.2.9", Action: "device-approve", Target: "pc-1", Detail: "{}", Status: 200})
		},
		func() error {
			return s.PutNamed(ctx, TableCollections, Named{ID: "c1", Name: "lab", Body: json.RawMessage(`{"id":"c1","name":"lab","devices":["dev-1"]}`), Changed: at(14)})
		},
		func() error {
			return s.PutNamed(ctx, TableDeployments, Named{ID: "d1", Name: "lab", Body: body, Changed: at(15)})
		},
		func() error {
			return s.AddSequence(ctx, Sequence{Name: "install", Revision: 1, Text: "castpoint: 1\nname: install\nsteps:\n  - restart: {into: disk}\n", By: "anna", Time: at(16)})
		},
		func() error {
			return s.PutSecret(ctx, Secret{Scope: "collection", Owner: "c1", Name: "JoinPassword", Sealed: []byte{1, 2, 0, 255}})
		},
		func() error {
			return s.PutRun(ctx, Run{ID: "r1", Deployment: "d1", Device: "dev-1", Ended: true, Body: json.RawMessage(`{"state":"done"}`), Started: at(17)},
				&RunStep{Run: "r1", Path: "1", Number: 1, Body: json.RawMessage(`{"state":"done"}`)})
		},
		func() error {
			return s.PutAgain(ctx, Again{Deployment: "d1", Device: "dev-1", By: "anna", Time: at(18)})
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// everything reads all that a store holds.
func everything(ctx context.Context, s *Store) (map[string]any, error) {
	all := make(map[string]any)
	read := func(name string, v any, err error) error {
		all[name] = v
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	devices, err := s.Devices(ctx)
	slices.SortFunc(devices, func(a, b Device) int { return strings.Compare(a.ID, b.ID) })
	if err := read("devices", devices, err); err != nil {
		return nil, err
	}
	reads := map[string]func() (any, error){
		"events":      func() (any, error) { return s.Events(ctx, EventQuery{}) },
		"tokens":      func() (any, error) { return s.AccessTokens(ctx) },
		"users":       func() (any, error) { return s.AccessUsers(ctx) },
		"logins":      func() (any, error) { return s.AccessSessions(ctx) },
		"audit":       func() (any, error) { return s.Audit(ctx, 0, 100) },
		"collections": func() (any, error) { return s.AllNamed(ctx, TableCollections) },
		"deployments": func() (any, error) { return s.AllNamed(ctx, TableDeployments) },
		"sequences":   func() (any, error) { return s.Sequences(ctx) },
		"secrets":     func() (any, error) { return s.Secrets(ctx) },
		"runs":        func() (any, error) { return s.LastRuns(ctx) },
		"steps":       func() (any, error) { return s.RunSteps(ctx, "r1") },
		"again":       func() (any, error) { return s.OnceMore(ctx) },
	}
	for name, get := range reads {
		v, err := get()
		if err := read(name, v, err); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Every schema that there ever was has a fixture, and what is in it is there after it was
// opened by this one. A change of the schema needs a migration
// and a fixture: go test ./internal/store -update writes it.
func TestEverySchemaIsOpened(t *testing.T) {
	if _, err := os.Stat(fixture(Version())); err != nil {
		if !*update {
			t.Fatalf("the schema has version %d, and there is no database of it: go test ./internal/store -update", Version())
		}
		dir := t.TempDir()
		s := openTest(t, dir)
		if err := fill(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(fixture(Version()), []byte(dump(t, s.write)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fresh := tables(t, openTest(t, t.TempDir()).write)
	for version := 1; version <= Version(); version++ {
		file := fixture(version)
		t.Run(strings.TrimSuffix(filepath.Base(file), ".sql"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			old := raw(t, filepath.Join(dir, FileName))
			if _, err := old.ExecContext(t.Context(), string(text)); err != nil {
				t.Fatal(err)
			}
			// What was handed out is never changed afterwards.
			then := raw(t, filepath.Join(t.TempDir(), FileName))
			if err := migrate(t.Context(), then, migrations()[:version]); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tables(t, old), tables(t, then)); diff != "" {
				t.Errorf("a migration up to schema %d was changed after it was handed out (- handed out, + today); write a new one:\n%s", version, diff)
			}
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			s := openTest(t, dir)
			all, err := everything(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(all, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(file, ".sql") + ".json"
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(strings.TrimSpace(string(want)), "\n"), strings.Split(string(got), "\n")); diff != "" {
				t.Errorf("what was in it, and what is there now:\n%s", diff)
			}
			// Both ways lead to the same tables, whatever the order they were made in.
			migrated := tables(t, s.write)
			slices.Sort(migrated)
			wanted := slices.Sorted(slices.Values(fresh))
			if diff := cmp.Diff(wanted, migrated); diff != "" {
				t.Errorf("tables of a new database, and of this one:\n%s", diff)
			}
		})
	}
}

// A fixture has something in every table, so that nothing is lost unseen.
func TestFixturesFillEveryTable(t *testing.T) {
	s := openTest(t, t.TempDir())
	if err := fill(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	rows, err := s.write.QueryContext(t.Context(), "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		var n int
		if err := s.write.QueryRowContext(t.Context(), "SELECT count(*) FROM "+name).Scan(&n); err != nil || n == 0 {
			t.Errorf("table %s: %d rows, %v: fill puts nothing into it", name, n, err)
		}
	}
}
