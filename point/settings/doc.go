// Package settings is what the settings of castpoint serve say: where each comes from,
// a flag, the file or nobody, which of them a reload changes, and what they are for each
// part of a server, in that part's own terms.
//
// It makes the settings of parts, and no parts: nothing is bound, and no folder is opened.
// The exceptions are what logs people in and what tells them, which are nothing but their
// settings.
package settings
