package main

import (
	"bytes"
	"os"
	"testing"
)

// TestOpenAPI: the document in the repository is that of the code.
func TestOpenAPI(t *testing.T) {
	want, err := openAPI()
	if err != nil {
		t.Fatal(err)
	}
	const path = "../../docs/openapi.json"
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/openapi.json is not that of the code; run go test ./cmd/castpoint -update")
	}
}
