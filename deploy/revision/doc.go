// Package revision keeps task sequences, revision by revision: a run that has begun
// goes on with the revision it began with, whoever adds one meanwhile.
package revision
