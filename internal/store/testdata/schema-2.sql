CREATE TABLE schema_version (
	version INTEGER PRIMARY KEY,
	what    TEXT NOT NULL,
	applied TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE device (
				id         TEXT PRIMARY KEY,
				name       TEXT NOT NULL COLLATE NOCASE,
				uuid       TEXT NOT NULL,
				state      TEXT NOT NULL,
				protected  INTEGER NOT NULL,
				notes      TEXT NOT NULL,
				variables  TEXT NOT NULL,          -- JSON object
				groups     TEXT NOT NULL,          -- JSON list
				settings   TEXT NOT NULL,          -- JSON object
				seen       TEXT NOT NULL,          -- JSON object: how it asked last
				created    INTEGER NOT NULL,       -- times are milliseconds since 1970
				first_seen INTEGER NOT NULL,       -- 0: never
				last_seen  INTEGER NOT NULL
			) WITHOUT ROWID;
CREATE TABLE device_mac (
				mac    TEXT PRIMARY KEY,
				device TEXT NOT NULL REFERENCES device(id) ON DELETE CASCADE,
				place  INTEGER NOT NULL            -- order within the device
			) WITHOUT ROWID;
CREATE TABLE event (
				id      INTEGER PRIMARY KEY AUTOINCREMENT,
				time    INTEGER NOT NULL,
				mac     TEXT NOT NULL,
				uuid    TEXT NOT NULL,
				kind    TEXT NOT NULL,
				trouble INTEGER NOT NULL,
				message TEXT NOT NULL,
				details TEXT NOT NULL              -- JSON object, or empty
			);
CREATE UNIQUE INDEX device_name ON device(name) WHERE name <> '';
CREATE UNIQUE INDEX device_uuid ON device(uuid) WHERE uuid <> '';
CREATE INDEX device_mac_device ON device_mac(device);
CREATE INDEX event_mac ON event(mac) WHERE mac <> '';
CREATE INDEX event_uuid ON event(uuid) WHERE uuid <> '';
INSERT INTO schema_version VALUES (1, 'devices', '2026-11-21 17:05:34');
INSERT INTO schema_version VALUES (2, 'events', '2026-11-21 17:05:34');
INSERT INTO device VALUES ('dev-1', 'pc-1', '4c4c4544-0042-3510-8052-b3c04f4b4e32', 'known', 1, 'room 7, it''s ''quoted''', '{"Role":"lab"}', '["hall"]', '{"chain":"grub"}', '{"arch":7}', 1795248060000, 1795248120000, 1795248180000);
INSERT INTO device VALUES ('dev-2', '', '', 'unknown', 0, '', 'null', 'null', '{}', '{}', 1795248240000, 0, 0);
INSERT INTO device_mac VALUES ('52:54:00:12:34:56', 'dev-1', 0);
INSERT INTO device_mac VALUES ('52:54:00:12:34:57', 'dev-1', 1);
INSERT INTO device_mac VALUES ('52:54:00:12:34:58', 'dev-2', 0);
INSERT INTO event VALUES (1, 1795248300000, '52:54:00:12:34:56', '4c4c4544-0042-3510-8052-b3c04f4b4e32', 'dhcp-offer', 0, 'offered 192.0.2.7', '{"address":"192.0.2.7"}');
INSERT INTO event VALUES (2, 1795248360000, '52:54:00:12:34:58', '', 'tftp-failed', 1, 'file not found', '');
