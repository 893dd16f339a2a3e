/* SPDX-License-Identifier: MIT */
/*
 * Serving guests: a socket, and a process for each connection, so that a guest can end
 * no process but its own, whatever it does.
 */
#ifndef LINNET_DEVICE_SERVE_H
#define LINNET_DEVICE_SERVE_H

#include "device.h"

struct serve_options {
	struct device_options device;
	const char *path;	/* of the socket to make, or NULL: */
	int fd;			/* a socket that listens already */
	const char *user;	/* whom to become when the socket is there, or NULL */
	unsigned max_guests;
	bool once;		/* end with the first guest */
	bool sandbox;
	/* A line for the one who runs the daemon; error: it is the reason of a failure. */
	void (*say)(bool error, const char *line);
};

/* Serve until SIGINT or SIGTERM. 0 or -errno, after a line that says why. */
int device_serve(const struct serve_options *opts);

#endif
