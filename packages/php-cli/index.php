<?php
if (isset($_GET['pid'])) {
	usleep(50000);
	echo getmypid(), "\n";
} else {
	echo 'hello, ', $_GET['name'] ?? 'world', ': ', 6 * 7, "\n";
}
