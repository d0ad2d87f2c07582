//go:build !linux

package agent

func systemFacts(string) facts { return facts{} }
