package delivery

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"castpoint/content"
)

// A log for which there is no room by and by ends, and nothing of it stays.
func TestLogsLeaveTheReserve(t *testing.T) {
	left := int64(3 * logRoom)
	body := func(size int) *patient {
		return &patient{r: bytes.NewReader(make([]byte, size)), control: http.NewResponseController(httptest.NewRecorder()), room: func(n int64) error {
			if left -= n; left < 0 {
				return fmt.Errorf("%w: the reserve", content.ErrNoSpace)
			}
			return nil
		}}
	}
	folder := t.TempDir()
	if err := writeWhole(folder, "one.log", body(2*logRoom-1)); err != nil {
		t.Fatal(err)
	}
	if err := writeWhole(folder, "two.log", body(2*logRoom)); !errors.Is(err, content.ErrNoSpace) {
		t.Errorf("%v", err)
	}
	if list, err := os.ReadDir(folder); err != nil || len(list) != 1 || list[0].Name() != "one.log" {
		t.Errorf("%v, %v", list, err)
	}
}
