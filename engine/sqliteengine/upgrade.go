package sqliteengine

// Layout 1 had one database for everything. Whoever finds it, and is alone in the
// directory, brings it to layout 2: lines.db gets what was in lines, and
// lockstep.db keeps what users stored. Dying on the way leaves layout 1, and a
// lines.db that the next attempt removes.

// inheritLines takes over what can be alive though nobody has the directory open:
// claims with a term, and the session of a killed command whose guardian ends the
// command's child. Watchers are gone with those who watched.
func inheritLines(lines *conn) error {
	return lines.script(`
		INSERT INTO sessions (id, bell) SELECT id, bell FROM old.sessions;
		INSERT INTO claims (name, seq, id, kind, shares, lim, session, bell, token, since, term, ends, note)
			SELECT name, seq, id, kind, shares, lim, session, bell, token, since, term, ends, note FROM old.claims`)
}

// upgradeStore drops the rest.
func upgradeStore(store *conn) error {
	return store.script(`
		DROP TABLE sessions;
		DROP TABLE claims;
		DROP TABLE watchers;
		ALTER TABLE meta DROP COLUMN watched`)
}
