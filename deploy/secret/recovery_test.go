package secret

import (
	"context"
	"fmt"
	"testing"
	"time"

	"castpoint/internal/store"
)

func TestRecoveries(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s, err := store.Open(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	v, err := Open(ctx, s, dir)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	keep := func(device, run, password string, after time.Duration) {
		t.Helper()
		if err := v.KeepRecovery(ctx, device, Recovery{Time: at.Add(after), Run: run, Step: "Encrypt", Password: password}); err != nil {
			t.Fatal(err)
		}
	}
	keep("pc", "r1", "111111-2", 0)
	keep("pc", "r1", "111111-2", time.Minute) // said again
	keep("pc", "r1", "333333-4", time.Hour)   // of another volume
	keep("other", "r2", "555555-6", 0)
	if v, err = Open(ctx, s, dir); err != nil {
		t.Fatal(err)
	}
	list, err := v.Recoveries("pc")
	if err != nil || len(list) != 2 || list[0].Password != "333333-4" || list[1].Password != "111111-2" || !list[1].Time.Equal(at) {
		t.Errorf("%+v, %v", list, err)
	}
	// They are no variables: no sequence gets them.
	if names := v.Names(OfDevice("pc")); len(names) != 0 {
		t.Errorf("%v", names)
	}
	const most = 100 // as docs/threat-model.md says
	for i := range most + 5 {
		keep("pc", fmt.Sprint("run", i), "777777-8", time.Duration(i+2)*time.Hour)
	}
	list, err = v.Recoveries("pc")
	if err != nil || len(list) != most || list[0].Run != fmt.Sprint("run", most+4) {
		t.Errorf("%d, %+v, %v", len(list), list[0], err)
	}
	if err := v.DropDevice(ctx, "pc"); err != nil {
		t.Fatal(err)
	}
	if list, err := v.Recoveries("pc"); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := v.Recoveries("other"); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}
