package loglevel

import (
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestLevels(t *testing.T) {
	all, seen := observer.New(zapcore.DebugLevel)
	l := New(zapcore.InfoLevel)
	log := l.Wrap(all)
	say := func() string {
		for _, name := range []string{"", "dhcp", "dhcp.lease", "dhcpx", "tftp"} {
			one := log.With(zap.String("who", name))
			if name != "" {
				one = one.Named(name)
			}
			one.Debug("debug")
			one.Info("info")
			one.Error("error")
		}
		var words []string
		for _, e := range seen.TakeAll() {
			words = append(words, e.LoggerName+":"+e.Message)
		}
		return strings.Join(words, " ")
	}
	for _, c := range []struct {
		change func()
		want   string
	}{
		{func() {}, ":info :error dhcp:info dhcp:error dhcp.lease:info dhcp.lease:error dhcpx:info dhcpx:error tftp:info tftp:error"},
		{func() { l.Set("dhcp", zapcore.DebugLevel) }, ":info :error dhcp:debug dhcp:info dhcp:error dhcp.lease:debug dhcp.lease:info dhcp.lease:error dhcpx:info dhcpx:error tftp:info tftp:error"},
		{func() { l.Set("", zapcore.ErrorLevel); l.Set("dhcp.lease", zapcore.ErrorLevel) }, ":error dhcp:debug dhcp:info dhcp:error dhcp.lease:error dhcpx:error tftp:error"},
		{func() { l.Reset("dhcp"); l.Reset("dhcp.lease") }, ":error dhcp:error dhcp.lease:error dhcpx:error tftp:error"},
		{func() { l.Replace(zapcore.ErrorLevel, map[string]zapcore.Level{"tftp": zapcore.InfoLevel}) }, ":error dhcp:error dhcp.lease:error dhcpx:error tftp:info tftp:error"},
	} {
		c.change()
		if got := say(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	if level, own := l.Of("tftp"); level != zapcore.InfoLevel || !own {
		t.Error(level, own)
	}
}

func TestParse(t *testing.T) {
	if got, err := Parse([]string{"dhcp=debug", "web.api=WARN"}); err != nil || got["dhcp"] != zapcore.DebugLevel || got["web.api"] != zapcore.WarnLevel {
		t.Error(got, err)
	}
	for _, bad := range []string{"dhcp", "=debug", "dhcp=loud", ""} {
		if _, err := Parse([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
