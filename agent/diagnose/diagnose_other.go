//go:build !linux

package diagnose

func systemFacts(string) facts { return facts{} }
