// Package console is the operator's view in a browser: pages made on the server,
// one style sheet and one small script of our own, and nothing from any other
// host. Without the script every page and every button works; the script adds what
// happens while a page is open, and the progress of uploads.
//
// This package has the overview and puts the rooms together: what all pages have in
// common is in frame, work that takes long in job, and the pages are in machines,
// rollouts, sessions, library, server and manual.
package console
