// Compares the core with the integer reference: loads a network, sends spikes and checks every packet of the output.
// It reads configuration.hex (address and data), events.hex and expected.hex (packets) from the working directory.
`timescale 1ns / 1ns

module testbench;
  localparam SPIKE = 2'd0, TICK = 2'd1, ACK = 2'd2;
  localparam WRITES = `WRITES, EVENTS = `EVENTS, EXPECTED = `EXPECTED;

  reg aclk = 0, aresetn = 0;
  always #5 aclk = ~aclk;

  reg [51:0] writes [0:WRITES - 1];
  reg [63:0] events [0:EVENTS - 1];
  reg [63:0] expected [0:EXPECTED - 1];
  initial begin
    $readmemh("configuration.hex", writes);
    $readmemh("events.hex", events);
    $readmemh("expected.hex", expected);
  end

  // Configuration: one write after another, then `loaded`. The strobe is stored inverted, so that full writes read 0.
  integer write = 0, pause = 0;
  reg awvalid = 0, wvalid = 0, bready = 0, loaded = 0;
  wire awready, wready, bvalid;
  wire [1:0] bresp;
  wire [51:0] writing = writes[write < WRITES ? write : WRITES - 1];
  always @(posedge aclk) if (aresetn) begin
    if (!awvalid && !wvalid && !bready && !loaded) begin
      if (write == WRITES) loaded <= 1;
      else begin awvalid <= 1; wvalid <= 1; bready <= 1; end
    end
    if (awvalid && awready) awvalid <= 0;
    if (wvalid && wready) wvalid <= 0;
    if (bvalid && bready) begin
      bready <= 0;
      write <= write + 1;
      if (bresp != 0) begin $display("FAIL: write %0d is refused", write); $finish; end
    end
  end

  // Input packets: a step may be sent once the step before the previous one is acknowledged. ACKs take precedence.
  integer event_number = 0, sent = 0, acknowledged = 0, owed = 0, answered = 0;
  reg [15:0] random = 16'hace1;
  wire [63:0] next = events[event_number < EVENTS ? event_number : EVENTS - 1];
  reg [63:0] tdata;
  reg tvalid = 0;
  wire tready;
  always @(posedge aclk) begin
    random <= {random[14:0], random[15] ^ random[13] ^ random[12] ^ random[10]};
    if (!tvalid || tready) begin
      tvalid <= 0;
      if (owed != answered) begin
        tdata <= {32'd0, 24'd0, 5'd0, answered[0], ACK};
        tvalid <= 1;
        answered <= answered + 1;
      end else if (loaded && event_number < EVENTS && sent < acknowledged + 2 && random[0]) begin
        tdata <= next;
        tvalid <= 1;
        event_number <= event_number + 1;
        if (next[1:0] == TICK) sent <= sent + 1;
      end
    end
  end

  // Output packets.
  integer received = 0, silent = 0;
  reg ready = 0;
  wire out_valid, out_last;
  wire [63:0] out;
  always @(posedge aclk) begin
    ready <= random[3] | random[7];
    silent <= silent + 1;
    if (out_valid && ready) begin
      silent <= 0;
      if (received == EXPECTED) begin $display("FAIL: more packets than expected"); $finish; end
      if (out !== expected[received]) begin
        $display("FAIL: packet %0d must be %h, not %h", received, expected[received], out); $finish;
      end
      if (out_last !== (out[1:0] == TICK)) begin $display("FAIL: tlast must be high with a TICK"); $finish; end
      if (out[1:0] == TICK) owed <= owed + 1;
      if (out[1:0] == ACK) acknowledged <= acknowledged + 1;
      received <= received + 1;
    end
    if (loaded && silent > 20000) begin
      if (received == EXPECTED && event_number == EVENTS) $display("PASS: %0d packets", received);
      else $display("FAIL: %0d of %0d packets", received, EXPECTED);
      $finish;
    end
    if (!loaded) silent <= 0;
  end

  initial begin
    repeat (8) @(posedge aclk);
    aresetn <= 1;
  end

  spikeloom_core core (
    .aclk(aclk), .aresetn(aresetn),
    .s_axis_tdata(tdata), .s_axis_tvalid(tvalid), .s_axis_tready(tready),
    .m_axis_tdata(out), .m_axis_tvalid(out_valid), .m_axis_tready(ready), .m_axis_tlast(out_last),
    .s_axi_awaddr(writing[38:32]), .s_axi_awvalid(awvalid), .s_axi_awready(awready),
    .s_axi_wdata(writing[31:0]), .s_axi_wstrb(~writing[43:40]), .s_axi_wvalid(wvalid), .s_axi_wready(wready),
    .s_axi_bresp(bresp), .s_axi_bvalid(bvalid), .s_axi_bready(bready),
    .s_axi_araddr(7'd0), .s_axi_arvalid(1'b0), .s_axi_arready(), .s_axi_rdata(), .s_axi_rresp(), .s_axi_rvalid(),
    .s_axi_rready(1'b1)
  );
endmodule
