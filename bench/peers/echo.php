<?php
// SPDX-License-Identifier: MIT
// The body of a request is its own result.
echo file_get_contents('php://input');
