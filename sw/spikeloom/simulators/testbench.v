// Testbench of the whole board: the top with a UART at its pins, and an interface to cocotb in blocks of bytes.
//
// The UART is independent of that of the design and follows the definition of 8N1: idle high, a low start bit, eight
// data bits, least significant first, a high stop bit. Bytes are passed in blocks, so that Python rarely wakes. A block
// ends with a zero byte (the end of a frame), when it is full, or when the line has been idle.

module testbench #(
    parameter DIVISOR = 4,   // clock cycles per bit
    parameter IDLE = 400     // cycles of silence that end a block
) (
    input  wire          clk,
    input  wire          rst,
    input  wire [2047:0] send_bytes,      // the first byte in the lowest bits
    input  wire [8:0]    send_count,      // 1 to 256
    input  wire          send_request,    // toggles to send
    output wire          send_done,       // follows the request after the last stop bit
    output wire [2047:0] received_bytes,
    output wire [8:0]    received_count,
    output wire          received_ready,  // toggles when a block is available
    input  wire          received_taken   // follows when it has been read
);
    // Cocotb may write whatever is declared in this module, so Verilator evaluates all logic behind it at both edges of
    // the clock. Therefore nothing but ports is declared here.
    board #(.DIVISOR(DIVISOR), .IDLE(IDLE)) board (
        .clk(clk), .rst(rst),
        .send_bytes(send_bytes), .send_count(send_count), .send_request(send_request), .send_done(send_done),
        .received_bytes(received_bytes), .received_count(received_count), .received_ready(received_ready),
        .received_taken(received_taken)
    );
endmodule

module board #(
    parameter DIVISOR = 4,   // clock cycles per bit
    parameter IDLE = 400     // cycles of silence that end a block
) (
    input  wire          clk,
    input  wire          rst,
    input  wire [2047:0] send_bytes,      // the first byte in the lowest bits
    input  wire [8:0]    send_count,      // 1 to 256
    input  wire          send_request,    // toggles to send
    output reg           send_done,       // follows the request after the last stop bit
    output reg  [2047:0] received_bytes,
    output reg  [8:0]    received_count,
    output reg           received_ready,  // toggles when a block is available
    input  wire          received_taken   // follows when it has been read
);
    reg line_to_board;
    wire line_from_board;

    // For the same reason, no input of the top is driven by a port directly.
    reg reset;
    always @(posedge clk) reset <= rst;

    top top (.clk(clk), .rst(reset), .rx(line_to_board), .tx(line_from_board));

    // To the board. The wide registers change rarely, because a simulator copies every register that is written.
    reg [7:0]    send_byte;
    reg [8:0]    send_index;
    reg [3:0]    send_bit;      // 0 start, 1 to 8 data, 9 stop
    reg [15:0]   send_clock;
    reg          sending;

    always @(posedge clk) begin
        if (rst) begin
            line_to_board <= 1'b1;
            sending <= 1'b0;
            send_done <= 1'b0;
        end else if (!sending) begin
            line_to_board <= 1'b1;
            if (send_request != send_done) begin
                sending <= 1'b1;
                send_byte <= send_bytes[7:0];
                send_index <= 9'd1;
                send_bit <= 4'd0;
                send_clock <= 16'd0;
            end
        end else begin
            line_to_board <= send_bit == 4'd0 ? 1'b0 : send_bit == 4'd9 ? 1'b1 : send_byte[send_bit[2:0] - 3'd1];
            if (send_clock != DIVISOR - 1)
                send_clock <= send_clock + 16'd1;
            else begin
                send_clock <= 16'd0;
                if (send_bit != 4'd9)
                    send_bit <= send_bit + 4'd1;
                else begin
                    send_bit <= 4'd0;
                    send_byte <= send_bytes[8 * send_index[7:0] +: 8];
                    send_index <= send_index + 9'd1;
                    if (send_index == send_count) begin
                        sending <= 1'b0;
                        send_done <= send_request;
                    end
                end
            end
        end
    end

    // From the board.
    reg [7:0]    block [0:255];
    reg [8:0]    block_count;
    reg          block_ends;
    reg [7:0]    receive_byte;
    reg [3:0]    receive_bit;
    reg [15:0]   receive_clock;
    reg          receiving;
    reg [15:0]   silence;
    integer      i;

    always @(posedge clk) begin
        if (rst) begin
            receiving <= 1'b0;
            block_count <= 9'd0;
            block_ends <= 1'b0;
            silence <= 16'd0;
            received_ready <= 1'b0;
            received_count <= 9'd0;
        end else begin
            silence <= receiving ? 16'd0 : silence == 16'hffff ? silence : silence + 16'd1;
            if (!receiving) begin
                if (!line_from_board) begin
                    receiving <= 1'b1;
                    receive_bit <= 4'd0;
                    receive_clock <= (DIVISOR - 1) / 2;
                end
            end else if (receive_clock != 16'd0)
                receive_clock <= receive_clock - 16'd1;
            else begin
                receive_clock <= DIVISOR - 1;
                receive_bit <= receive_bit + 4'd1;
                if (receive_bit == 4'd0 && line_from_board)
                    receiving <= 1'b0;  // a glitch, not a start bit
                else if (receive_bit >= 4'd1 && receive_bit <= 4'd8)
                    receive_byte <= {line_from_board, receive_byte[7:1]};
                else if (receive_bit == 4'd9) begin
                    receiving <= 1'b0;
                    if (!line_from_board || block_count == 9'd256)
                        $display("TESTBENCH ERROR: %s", line_from_board ? "block overflow" : "framing error");
                    else begin
                        block[block_count[7:0]] <= receive_byte;
                        block_count <= block_count + 9'd1;
                        block_ends <= receive_byte == 8'd0;
                    end
                end
            end
            if (received_ready == received_taken && block_count != 9'd0 && !receiving
                && (block_ends || block_count >= 9'd200 || silence > IDLE)) begin
                for (i = 0; i < 256; i = i + 1)
                    received_bytes[8 * i +: 8] <= block[i];
                received_count <= block_count;
                received_ready <= !received_ready;
                block_count <= 9'd0;
                block_ends <= 1'b0;
            end
        end
    end
endmodule
