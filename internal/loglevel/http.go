package loglevel

import (
	"bytes"
	"log"

	"go.uber.org/zap"
)

// HTTPErrors is http.Server.ErrorLog. What the package http tells there is mostly about
// clients that break off or speak no TLS, which is no error of ours and goes to debug; a
// handler that panicked is one.
func HTTPErrors(to *zap.Logger) *log.Logger {
	return log.New(httpErrors{to}, "", 0)
}

type httpErrors struct{ log *zap.Logger }

func (e httpErrors) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line))
	if bytes.HasPrefix(line, []byte("http: panic serving")) {
		e.log.Error("request not answered: a fault of castpoint, please report it", zap.String("reason", text))
	} else {
		e.log.Debug("http", zap.String("reason", text))
	}
	return len(line), nil
}
